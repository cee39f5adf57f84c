"""What a sync config makes of a source's rows and of a user, asked of the source itself: `syncline explain` and `syncline who`."""
