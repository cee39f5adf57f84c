"""The commands beside `syncline start`: `migrate`, `compact`, `teardown`, `check_connection`. Each returns an exit code
(`syncline.service.exit_codes`) and says on standard output what it did.
"""
