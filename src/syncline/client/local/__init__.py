"""The device's SQLite file: layout, capture of local writes, bucket storage and upload queue (client SQLite reference)."""
