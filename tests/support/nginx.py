"""An nginx with its default settings in front of Holdfast's servers; only the upstreams are configured."""

import asyncio
import contextlib
import shutil

_CONFIGURATION = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  {servers}
}}
"""
_REST = "server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{address}; }} }}"
_GRPC = "server {{ listen 127.0.0.1:{port} http2; location / {{ grpc_pass grpc://{address}; }} }}"
_START_SECONDS = 20


@contextlib.asynccontextmanager
async def nginx_before(directory, free_port, *, rest=(), grpc=()):
    """Return its addresses for the given upstreams, REST first."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    assert program, "nginx is missing: install Debian's package of that name"
    ports = [free_port() for _ in (*rest, *grpc)]
    templates = [_REST] * len(rest) + [_GRPC] * len(grpc)
    servers = "\n".join(
        template.format(port=port, address=address)
        for template, port, address in zip(templates, ports, (*rest, *grpc), strict=True)
    )
    configuration = directory / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(directory=directory, servers=servers))
    process = await asyncio.create_subprocess_exec(program, "-e", directory / "error.log", "-c", configuration)
    try:
        for port in ports:
            await _listens(port)
        yield [f"127.0.0.1:{port}" for port in ports]
    finally:
        process.kill()
        await process.wait()


async def _listens(port):
    async with asyncio.timeout(_START_SECONDS):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)
