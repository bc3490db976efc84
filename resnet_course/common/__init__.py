"""What every room may use: errors, files, downloads, and words to the learner."""
