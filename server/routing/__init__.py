"""The only bridge from control to media: sessions, streams and slots in, the relay's transactions out.

allotment.py   ids, SSRCs, credentials
tables.py      what is known; routes follow from it
joining.py     engine commands for an accepted offer
reports.py     what the media process reports, written into the tables
views.py       what consoles are told
telling.py     telling them
voice.py       microphones, and where they go
load.py        how busy media is
overload.py    which pictures are refused, go and come back
recordings.py  recordings asked of media
cameras.py     cameras to pull, and where they may be connected to
link.py        one media process: transactions, addresses
node.py        `Routing`, which fulfils `server.model.ports.MediaNode`
"""
