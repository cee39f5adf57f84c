"""The parts of ready connectors: how a user signs in, how each kind of backend takes writes, and what becomes of refused ones.

    credential_flows   where the token comes from          backend_client     requests, time limits, broken connections
    write_api          the write API (default)             authorized         requests with the user's token
    rest               one request for each changed row    outcomes           what a backend said about a transaction
    transaction_list   transactions as a list              upload_policy      what is done with it
    table_batches      changes grouped by table            static, supabase   whole connectors
    operations         the recipe's list of operations     shared             one connector for the whole program

Apps import what they need from `syncline.client`.
"""
