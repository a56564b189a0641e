"""What the course draws itself: frames, fields and leukocytes whose truth is known."""
