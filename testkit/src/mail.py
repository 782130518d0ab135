"""A mail server: mail.py PORT FOLDER ACCEPT|REFUSE|BUSY|SLOW PLAIN|STARTTLS [CERTIFICATE KEY]

Each message lies in FOLDER as NUMBER.json. REFUSE: no recipient is taken. BUSY: none for now, until there is a file
FOLDER/relented. SLOW: no answer to the sender's name. With STARTTLS one
must log in, as testkit with the password `testkit-secret`.
"""

import json
import ssl
import sys
import threading
from email import message_from_bytes, policy
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

port, folder, manner, line, *certificate = sys.argv[1:]
never = threading.Event()


class Handler:
    count = 0

    async def handle_MAIL(self, server, session, envelope, address, options):
        if manner == "SLOW":
            import asyncio

            await asyncio.sleep(3600)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if manner == "REFUSE":
            return "554 5.7.1 not from you"
        if manner == "BUSY" and not (Path(folder) / "relented").exists():
            return "451 4.7.1 greylisted, come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        parsed = message_from_bytes(envelope.content, policy=policy.default)
        defects = [repr(defect) for part in parsed.walk() for defect in part.defects]
        defects += [f"{name}: {defect!r}" for name, value in parsed.items() for defect in value.defects]
        kept = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": [[name.lower(), str(value)] for name, value in parsed.items()],
            "body": parsed.get_content(),
            "tls": session.ssl is not None,
            "defects": defects,
            "ascii": envelope.content.isascii(),
        }
        Handler.count += 1
        place = Path(folder) / f"{Handler.count:06}.part"
        place.write_text(json.dumps(kept))
        place.rename(place.with_suffix(".json"))
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    fits = data.login == b"testkit" and data.password == b"testkit-secret"
    return AuthResult(success=fits)


options = {}
if line == "STARTTLS":
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    options = {"tls_context": context, "require_starttls": True, "authenticator": authenticate, "auth_required": True}
Controller(Handler(), hostname="127.0.0.1", port=int(port), **options).start()
never.wait()
