"""An S3 server for tests: moto, one request after the other.

usage: s3_server.py -H HOST -p PORT

moto looks whether an object is there and puts it in two steps, so that of two conditional creations at once both may
succeed. Such a store is refused by the program, and rightly: now and then a test met that instead of what it asked for.
"""
import sys
import threading

from moto import server

lock = threading.Lock()
at_any_time = server.DomainDispatcherApplication.__call__


def one_at_a_time(application, environ, start_response):
    with lock:
        return at_any_time(application, environ, start_response)


server.DomainDispatcherApplication.__call__ = one_at_a_time
server.main(sys.argv[1:])
