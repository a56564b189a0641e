"""Code that runs and publishes the course; no chapter imports it."""
