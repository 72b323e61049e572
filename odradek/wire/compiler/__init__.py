"""Makes the Python code that reads, writes or constructs a struct, one version at a time, on first use.

A reader is one function for the whole message: nested structs are inlined, and neighbouring fields of fixed width,
together with the first byte of the length or count that follows them, are one `struct.unpack_from`. A writer mirrors
that. The source comes from the declarations alone; nothing that was received is ever compiled.
"""
