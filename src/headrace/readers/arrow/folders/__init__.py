"""Folders of tables: which files are its rows, and what the names of folders say."""
