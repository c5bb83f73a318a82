"""What an operator does with a store: look into its files, back it up, bring it back.

    files.py       a member's directory, opened for reading only
    inspection.py  what log and snapshots hold, and what is wrong with them   (verify)
    words.py       records, commands and snapshots in words                   (dump)
    archive.py     snapshot files: save, status                               (snapshot ...)
    rebuild.py     a new member's directory out of a state                    (snapshot restore)
    recovery.py    a cluster of one out of the survivors                      (recover)
    rejoin.py      a place in that cluster for those who lost theirs          (rejoin)
    command.py, recover_command.py, rejoin_command.py: the subcommands of `wherry store`

Nothing here runs in a member. A member's directory is only read, but for `recover`, which
and `rejoin`, which put a new one in its place and keep the old one aside.
"""
