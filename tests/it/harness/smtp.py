"""A mail server for the tests: says its port, then prints every mail it takes as one line of JSON.

It wants a name and a password, refuses `nobody@` for good, and `later@` once.
"""
import asyncio
import email
import email.policy
import json

from aiosmtpd.smtp import SMTP, AuthResult

delayed = set()


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 there is nobody of this name"
        if address.startswith("later@") and address not in delayed:
            delayed.add(address)
            return "451 come again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        text, html = (message.get_body([form]).get_content() for form in ("plain", "html"))
        told = {"from": envelope.mail_from, "to": envelope.rcpt_tos, "subject": message["subject"]}
        print(json.dumps({**told, "text": text, "html": html}), flush=True)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=data.login == b"sesame" and data.password == b"open:it", handled=False)


def serve():
    return SMTP(Handler(), authenticator=authenticate, auth_required=True, auth_require_tls=False)


async def main():
    server = await asyncio.get_running_loop().create_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
