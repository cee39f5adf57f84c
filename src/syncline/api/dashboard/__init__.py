"""The dashboard: one page for whoever runs the service, and the questions that it asks. docs/howto/dashboard.md is its guide."""
