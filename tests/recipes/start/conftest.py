"""kafka-python uses what Python 3.11 warns of when it is imported, and warnings are errors here."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka  # noqa: F401
