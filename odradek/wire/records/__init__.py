"""Record batches as they lie on disk and travel in Produce and Fetch: headers, records, checksums, compression."""
