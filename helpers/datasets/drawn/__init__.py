"""Images that the course draws: frames, fields and leukocytes whose truth is known."""
