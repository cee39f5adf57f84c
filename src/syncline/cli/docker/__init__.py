"""A development stack in containers: the files of `syncline docker configure`, and running `docker compose` on them."""
