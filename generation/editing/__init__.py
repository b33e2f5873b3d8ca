"""A given face under another emotion: the face, the seam, the files."""
