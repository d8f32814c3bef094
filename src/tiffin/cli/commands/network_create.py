"""`tiffin network create`."""

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Make a network: a bridge of its own, whose containers reach each other and no container of another network.

With the driver macvlan or ipvlan, containers are neighbours of this machine on the wire of its interface -o parent=NAME
(a VLAN: NAME.NUMBER), at addresses of that wire; without a parent they reach each other alone. Their options are
macvlan_mode=bridge|vepa|private|passthru and ipvlan_mode=l2|l3|l3s."""
EXAMPLES = """\
tiffin network create front
tiffin network create --subnet 10.77.0.0/24 --gateway 10.77.0.1 --ip-range 10.77.0.128/25 fixed
tiffin network create --ipv6 dual
tiffin network create --ipv6 --subnet 10.77.0.0/24 --subnet fd00:77::/64 --gateway fd00:77::1 both
tiffin network create --ipv6 --ipv4=false six
tiffin network create --internal --label stage=test vault
tiffin network create -o com.docker.network.driver.mtu=1400 -o com.docker.network.bridge.name=front0 narrow
tiffin network create -d macvlan -o parent=eth0 --subnet 192.168.1.0/24 --gateway 192.168.1.1 lan
"""


def arguments(parser: "CommandParser") -> None:
    add = parser.add_argument

    def repeated(name: str, metavar: str, text: str) -> None:
        """An option that is given once for each family."""
        add(name, action="append", default=[], metavar=metavar, help=text)

    parser.switch("--attachable", help="shown by inspect: containers may join every network of this engine")
    add(
        "--aux-address",
        action="append",
        default=[],
        metavar="NAME=ADDRESS",
        help="address that no container gets",
    )
    add("-d", "--driver", default="bridge", metavar="DRIVER", help="bridge, macvlan or ipvlan")
    repeated("--gateway", "ADDRESS", "the bridge's own address (the subnet's first)")
    parser.switch("--internal", help="no way out of it and none in")
    repeated("--ip-range", "SUBNET", "part of the subnet that containers get addresses of")
    parser.switch("--ipv4", default=True, help="with IPv4 (--ipv4=false: without)")
    parser.switch("--ipv6", help="with IPv6")
    add("--label", action="append", default=[], metavar="NAME=VALUE", help="set a label")
    add("-o", "--opt", action="append", default=[], metavar="NAME=VALUE", help="option of the driver")
    repeated(
        "--subnet",
        "SUBNET",
        "its addresses, as 10.77.0.0/24 or fd00:77::/64 (default: free ones)",
    )
    add("name", metavar="NETWORK")


def run(args: "Namespace", session: "Session") -> int:
    from tiffin.network.definitions import NetworkRequest

    request = NetworkRequest(
        name=args.name,
        driver=args.driver,
        subnets=tuple(args.subnet),
        gateways=tuple(args.gateway),
        ip_ranges=tuple(args.ip_range),
        auxiliary=tuple(args.aux_address),
        internal=args.internal,
        attachable=args.attachable,
        labels=tuple(args.label),
        options=tuple(args.opt),
        ipv4=args.ipv4,
        ipv6=args.ipv6,
    )
    print(session.engine.networks.create(request))
    return 0
