"""Developer tools: the requirements table and generated pages."""
