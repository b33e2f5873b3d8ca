"""Pictures and videos: files to pixels."""
