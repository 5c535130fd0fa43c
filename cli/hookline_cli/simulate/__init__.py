"""
Plays CometChat: documented payloads, its patience of two seconds, its retries, and what hostile or broken senders do.

payloads   documented payloads, made distinguishable: every event gets ids of its own
world      users, groups and conversations
stage      what a scene is played on: its clock, chance and ids
scenes     sequences of events as they happen in life
day        scenes, as people's days go
plan       what is to be sent, decided beforehand from a seed
client     HTTP/1.1 over kept-alive connections
sender     sends a plan: pace, time-outs, retries; one `Sent` for each shot
report     what came of it, held against the two-second rule
command    `hookline simulate`

As a library: `await Simulator(Endpoint("http://127.0.0.1:8080/acme/chat", "user", "password")).send(make_plan(...))`.
"""
