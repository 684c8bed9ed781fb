"""Arrow tables: IPC files and Parquet."""
