"""The checks of `syncline validate`: the service's configuration, its connections, and the sync config."""
