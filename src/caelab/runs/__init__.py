"""What a run leaves behind: its directory, its record, and how both are found and read again."""
