"""A stock pyzmq socket, for tests: peer.py ROLE ENDPOINT [server=Z85] [public=Z85 secret=Z85]

sub      subscribes to everything and prints the topic of each message; ends after one, or after 3 s with `nothing`
pub      binds, prints its endpoint, and publishes `web1/h1` until it is ended; `secret` alone makes it a CURVE server
dealer   asks `what?`, prints the answer; or after 3 s `nothing`
"""
import sys
import time

import zmq

role, endpoint = sys.argv[1:3]
keys = dict(word.split("=", 1) for word in sys.argv[3:])
context = zmq.Context()
socket = context.socket({"sub": zmq.SUB, "pub": zmq.PUB, "dealer": zmq.DEALER}[role])
socket.linger = 0
socket.rcvtimeo = 3000
if "secret" in keys:
    socket.curve_secretkey = keys["secret"].encode()
    socket.curve_publickey = zmq.curve_public(keys["secret"].encode())
if "server" in keys:
    socket.curve_serverkey = keys["server"].encode()

if role == "pub":
    socket.curve_server = "secret" in keys
    socket.bind(endpoint)
    print(socket.last_endpoint.decode(), flush=True)
    while True:
        socket.send_multipart([b"web1/h1", b"frame"])
        time.sleep(0.01)

socket.connect(endpoint)
if role == "sub":
    socket.subscribe(b"")
else:
    socket.send(b"what?")
try:
    print(socket.recv_multipart()[0].decode())
except zmq.Again:
    print("nothing")
