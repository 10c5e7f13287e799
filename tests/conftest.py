"""What all unit tests need. That this file is here makes the modules beside it (certificates) importable by them, too."""

import signal

# What a shell has put in the background ignores interrupts, and so would the programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
