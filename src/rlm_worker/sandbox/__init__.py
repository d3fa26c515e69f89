"""What runs inside the sandbox: this package is shipped as text, beside nothing else of the Worker.

It imports the standard library and itself only; `entry` alone knows the platform. Nothing here guards the host:
whatever model-written code does to this package, it stays in an isolate that can reach one method of one stub.
"""

# What an isolate says that was never opened: the platform has put it in another one's place.
FORGOTTEN = "this isolate has lost its REPL"
