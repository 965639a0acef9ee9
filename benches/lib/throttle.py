"""A proxy that limits the rate of each connection. Run as a program: `throttle.py UPSTREAM_PORT BYTES_PER_SECOND`.

The kernel paces the connections (SO_MAX_PACING_RATE), so the proxy only copies. Prints the port that it listens on.
"""

import contextlib
import socket
import sys
import threading

SO_MAX_PACING_RATE = 47
BLOCK = 256 * 1024


def copy(source, destination):
    """Copies until the source ends or an error occurs, then closes the destination for writing."""
    buffer = memoryview(bytearray(BLOCK))
    with contextlib.suppress(OSError):
        while length := source.recv_into(buffer):
            destination.sendall(buffer[:length])
    # The other direction may still be in use.
    with contextlib.suppress(OSError):
        destination.shutdown(socket.SHUT_WR)
    with contextlib.suppress(OSError):
        source.shutdown(socket.SHUT_RD)


def serve(client, upstream_port, rate):
    with client, socket.create_connection(("127.0.0.1", upstream_port)) as upstream:
        client.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, rate)
        for end in (client, upstream):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        requests = threading.Thread(target=copy, args=(client, upstream), daemon=True)
        requests.start()
        copy(upstream, client)
        requests.join()


def main():
    upstream_port, rate = int(sys.argv[1]), int(sys.argv[2])
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client, upstream_port, rate), daemon=True).start()


if __name__ == "__main__":
    main()
