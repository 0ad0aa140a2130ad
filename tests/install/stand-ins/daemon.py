"""Stands in for the daemons: takes their flags, listens where a generator listens, ends on SIGTERM.

The version it prints also says how it behaves: `broken` does not start, `mute` starts and does not listen.
"""
import os, signal, socket, subprocess, sys, time

def value(name, default=None):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default

program = os.path.basename(sys.argv[0])
command = sys.argv[1] if len(sys.argv) > 1 else ''
with open('/machine/daemons', 'a') as log:
    log.write(' '.join([program] + sys.argv[1:]) + '\n')

if '--version' in sys.argv:
    print(program, VERSION)
    sys.exit(1 if 'broken' in VERSION else 0)

settings = {}
if value('--config'):
    with open(value('--config')) as file:
        for line in file:
            if '=' in line and not line.startswith('#'):
                key, text = line.split('=', 1)
                settings[key.strip()] = text.strip().strip('"')
if 'wrong' in settings or 'broken' in VERSION:
    print('the configuration is wrong: unknown field `wrong`', file=sys.stderr)
    sys.exit(2)
if '--check-config' in sys.argv:
    sys.exit(0)

if command == 'top':
    print('LIVE TABLE', value('--connect'), flush=True)
    try:
        time.sleep(float(value('--seconds', 1000)))
    except KeyboardInterrupt:
        sys.exit(0)
    sys.exit(0)
if command == 'query':
    print('ANSWER TO', sys.argv[2])
    sys.exit(0)

if sys.argv[1:3] == ['keys', 'new']:
    # As the real one does: what root makes belongs to the owner of the folder.
    folder = '/etc/zonescope/keys/' + program.removeprefix('zonescope-')
    for name, mode, text in (('secret', 0o600, 'a secret'), ('public', 0o644, 'THE-PUBLIC-KEY of-a-stand-in')):
        with open(os.open(f'{folder}/{name}', os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), 'w') as file:
            print(text, file=file)
            os.fchown(file.fileno(), os.stat(folder).st_uid, os.stat(folder).st_gid)
    print('THE-PUBLIC-KEY')
    sys.exit(0)
if command == 'doctor':
    print('ok    port  is ours')
    sys.exit(0)
if command == 'once':
    print('{"zone": "global"}')
    sys.exit(0)
if command == 'record':
    open(value('--output'), 'w').close()
    sys.exit(0)

assert command == 'run', sys.argv
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
signal.signal(signal.SIGTERM, lambda *_: None if os.path.exists('/machine/stubborn') else sys.exit(0))
if program == 'zonescope-generator':
    if os.path.exists('/machine/generator-dies'):
        print('cannot read kstats: no such device', file=sys.stderr)
        sys.exit(1)
    # What a generator starts and, killed, cannot end: as dtrace.
    subprocess.Popen(['sh', '-c', 'exec sleep 1000 # grandchild'], stderr=subprocess.DEVNULL) if os.path.exists('/machine/stubborn') else None
    bind = value('--bind', settings.get('bind', 'tcp://127.0.0.1:7211'))
    host, port = bind[len('tcp://'):].rsplit(':', 1)
    if 'mute' not in VERSION:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen()
elif 'mute' in VERSION:
    sys.exit(1)
elif value('--root'):
    os.makedirs(value('--root'))
while True:
    time.sleep(1000)
