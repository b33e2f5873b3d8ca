"""What every program runs on: files that appear whole or not at all, and training that resumes exactly."""
