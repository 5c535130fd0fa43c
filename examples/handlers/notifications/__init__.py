"""
Mails people what they miss: a mention, or a message that comes while they are offline.

An event's way through the modules:

reading     what a mail needs of the event: the message, who wrote it, whom it concerns
notifying   the straight line: read, decide, write, send, note
deciding    pure: whom a message concerns, and whether a mail is due
ledger      SQLite: who is online, which mails have gone
directory   uid → mail address, from a file
writing     templates → a mail
mailing     a mail → the mail server; what its refusals mean
rate        how many mails a minute
__main__    flags and wiring
"""
