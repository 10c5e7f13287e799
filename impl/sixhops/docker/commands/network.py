"""`network create`, `connect`, `disconnect`, `ls`, `rm`."""

from __future__ import annotations

import sys
from typing import Any

from sixhops.docker.command import Command, Context
from sixhops.docker.confirm import confirmed
from sixhops.docker.documents import hostspec, ipam
from sixhops.docker.documents.networks import NO_SETTINGS
from sixhops.docker.engine.contexts import natural
from sixhops.docker.errors import DockerError, ExitError
from sixhops.docker.filters import encode
from sixhops.docker.flags import flag
from sixhops.docker.screen import table

__all__ = ["CONNECT", "CREATE", "DISCONNECT", "LS", "RM"]

_INGRESS = (
    "WARNING! Before removing the routing-mesh network, make sure all the nodes in your swarm run the same docker engine "
    "version. Otherwise, removal may not be effective and functionality of newly create ingress networks will be "
    "impaired.\nAre you sure you want to continue?"
)


def _create(context: Context) -> int:
    options = context.options
    document: dict[str, Any] = {
        "CheckDuplicate": True,
        "Driver": options["driver"],
        "Scope": options["scope"],
        "EnableIPv6": options["ipv6"],
        "IPAM": {
            "Driver": options["ipam-driver"],
            "Options": dict(options["ipam-opt"]),
            "Config": ipam.configs(
                options["subnet"], options["ip-range"], options["gateway"], dict(options["aux-address"])
            ),
        },
        "Internal": options["internal"],
        "Attachable": options["attachable"],
        "Ingress": options["ingress"],
        "ConfigOnly": options["config-only"],
        "ConfigFrom": {"Network": options["config-from"]} if options["config-from"] else None,
        "Options": dict(options["opt"]),
        "Labels": dict(hostspec.key_value(label) for label in options["label"]),
        "Name": options.arguments[0],
    }
    answer = context.client.json("POST", "/networks/create", None, document)
    sys.stdout.write(f"{answer['Id']}\n")
    return 0


def _connect(context: Context) -> int:
    options = context.options
    network, container = options.arguments
    driver_options = {}
    for text in options["driver-opt"]:
        name, equals, value = text.partition("=")
        if not equals:
            raise DockerError("invalid key/value pair format in driver options")
        driver_options[name.strip()] = value.strip()
    addresses: dict[str, Any] = {"IPv4Address": options["ip"], "IPv6Address": options["ip6"]}
    addresses["LinkLocalIPs"] = options["link-local-ip"]
    endpoint = NO_SETTINGS | {
        "IPAMConfig": {name: value for name, value in addresses.items() if value},
        "Links": options["link"] or None,
        "Aliases": options["alias"],
        "DriverOpts": driver_options,
    }
    document = {"Container": container, "EndpointConfig": endpoint}
    context.client.call("POST", f"/networks/{network}/connect", None, document).body()
    return 0


def _disconnect(context: Context) -> int:
    network, container = context.options.arguments
    document = {"Container": container, "Force": context.options["force"]}
    context.client.call("POST", f"/networks/{network}/disconnect", None, document).body()
    return 0


def _list(context: Context) -> int:
    client, options = context.client, context.options
    query = {"filters": encode(options["filter"])} if options["filter"] else {}
    networks = client.json("GET", "/networks", query)
    chosen = options["format"] or ("" if options["quiet"] else client.settings.text("networksFormat"))
    networks.sort(key=lambda network: natural(network["Name"]))
    table.write(_listing(full=options["no-trunc"]), networks, chosen, quiet=options["quiet"])
    return 0


def _listing(*, full: bool) -> table.Listing:
    return table.Listing(
        {
            "ID": lambda n: n["Id"] if full else n["Id"][:12],
            "Name": lambda n: n["Name"],
            "Driver": lambda n: n["Driver"],
            "Scope": lambda n: n["Scope"],
            "IPv6": lambda n: str(n["EnableIPv6"]).lower(),
            "Internal": lambda n: str(n["Internal"]).lower(),
            "Labels": lambda n: ",".join(f"{k}={v}" for k, v in (n.get("Labels") or {}).items()),
            "Label": lambda n, name: (n.get("Labels") or {}).get(name, ""),
            "CreatedAt": lambda n: _go_time(n["Created"]),
        },
        {"ID": "NETWORK ID", "CreatedAt": "CREATED AT"},
        "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
        kind="*network.networkContext",
        raw="network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n",
        raw_quiet="network_id: {{.ID}}",
    )


def _go_time(text: str) -> str:
    """Return an RFC 3339 time as Go prints it: 2026-11-23 21:05:42.5 +0000 UTC."""
    day, _, rest = text.partition("T")
    clock, zone = (rest[:-1], "+0000 UTC") if rest.endswith("Z") else (rest[:-6], rest[-6:].replace(":", ""))
    return f"{day} {clock} {zone if ' ' in zone else f'{zone} {zone}'}"


def _remove(context: Context) -> int:
    client = context.client
    failed = False
    for name in context.options.arguments:
        try:
            ingress = client.json("GET", f"/networks/{name}").get("Ingress")
        except DockerError:
            ingress = False  # the removal tells what is wrong
        if ingress and not confirmed(_INGRESS):
            continue
        try:
            client.call("DELETE", f"/networks/{name}", missing=("network", name)).body()
        except DockerError as error:
            sys.stdout.flush()
            sys.stderr.write(f"{error}\n")
            failed = True
            continue
        sys.stdout.write(f"{name}\n")
    if failed:
        raise ExitError(1)
    return 0


CREATE = Command(
    usage="NETWORK",
    summary="Create a network",
    run=_create,
    least=1,
    most=1,
    flags=(
        flag("attachable", help="Containers may be connected by hand"),
        flag(
            "aux-address", "map", help="Address that is taken already", read=hostspec.key_value, shown="map[]"
        ),
        flag("config-from", "string", help="Network to copy the configuration of"),
        flag("config-only", help="A network that only others are configured from"),
        flag("driver", "string", "d", "Driver of the network", default="bridge", shown='"bridge"'),
        flag("gateway", "strings", help="Gateway of the subnet, IPv4 or IPv6"),
        flag("ingress", help="The routing mesh of a swarm"),
        flag("internal", help="No way out of it"),
        flag("ip-range", "strings", help="Part of the subnet that containers get their addresses from"),
        flag("ipam-driver", "string", help="Driver of the addresses", default="default", shown='"default"'),
        flag(
            "ipam-opt",
            "map",
            help="Option of the driver of the addresses",
            read=hostspec.key_value,
            shown="map[]",
        ),
        flag("ipv6", help="IPv6 as well"),
        flag("label", "list", help="Label of the network", read=hostspec.label),
        flag("opt", "map", "o", "Option of the driver", read=hostspec.key_value, shown="map[]"),
        flag("scope", "string", help="Where the network reaches"),
        flag("subnet", "strings", help="Subnet, as address and length of its prefix"),
    ),
)
CONNECT = Command(
    usage="NETWORK CONTAINER",
    summary="Connect a container to a network",
    run=_connect,
    least=2,
    most=2,
    flags=(
        flag("alias", "strings", help="Another name on the network"),
        flag("driver-opt", "strings", help="Option of the network's driver"),
        flag("ip", "string", help="IPv4 address (such as 172.30.100.104)"),
        flag("ip6", "string", help="IPv6 address (such as 2001:db8::33)"),
        flag("link", "list", help="Container to link to", read=hostspec.link),
        flag("link-local-ip", "strings", help="Link-local address"),
    ),
)
DISCONNECT = Command(
    usage="NETWORK CONTAINER",
    summary="Disconnect a container from a network",
    run=_disconnect,
    least=2,
    most=2,
    flags=(flag("force", short="f", help="Also a container that is not there any more"),),
)
LS = Command(
    usage="",
    summary="List networks",
    run=_list,
    most=0,
    aliases=("ls", "list"),
    flags=(
        flag("filter", "filter", "f", "Only networks that meet the condition"),
        flag("format", "string", help="Go template for each line"),
        flag("no-trunc", help="Print everything in full length"),
        flag("quiet", short="q", help="Print IDs only"),
    ),
)
RM = Command(
    usage="NETWORK [NETWORK...]",
    summary="Remove one or more networks",
    run=_remove,
    least=1,
    aliases=("rm", "remove"),
)
