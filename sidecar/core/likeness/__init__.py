"""Which texts are nearly the same? Found exactly, among a million."""
