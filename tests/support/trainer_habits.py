"""The habits of users of trainers: the columns of the table in docs/trainers.md."""

HABITS = (
    "peek",
    "early stop",
    "limit",
    "evaluation twice",
    "resume within an epoch",
    "resume at an epoch's end",
    "2 processes with ranks",
    "2 processes without ranks",
    "workers",
    "samplings",
)
