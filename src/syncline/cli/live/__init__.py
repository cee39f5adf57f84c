"""A running service as one user's device sees it: `syncline buckets`, `tail` and `inspect --endpoint`."""
