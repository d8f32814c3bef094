"""Names of containers: Docker's grammar, and made-up ones (an adjective and something to eat)."""

import os

from tiffin.errors import InvalidArgument

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")
_LONGEST = 255

_ADJECTIVES = (
    "able agile alert amber ample apt arch avid balmy basic bold brave breezy brief bright brisk broad "
    "busy calm candid careful cheery chief civil clean clear clever close cosy crisp curious daring deep "
    "deft eager early earnest easy equal even exact fair fancy fast fine firm fit fleet fond frank free "
    "fresh gentle giddy glad golden good grand green handy happy hardy honest humble jolly keen kind "
    "large late light lively local lone loyal lucky lunar magic major mellow merry mild modest neat new "
    "nimble noble novel open patient plain polite prime proud quick quiet rapid ready regal robust rosy "
    "round royal serene sharp shiny simple smart smooth snug solar solid sound spare spry stable steady "
    "still stoic strong sturdy sunny super sure sweet swift tall tender tidy tiny true trusty upbeat "
    "urban valid vast vivid warm wise witty young zesty"
)

_NOUNS = (
    "almond anise apple apricot bagel banana barley basil bean beet berry biscuit bread brioche broth bun "
    "butter cabbage caper caraway cardamom carrot cashew celery chai cherry chestnut chili chutney cider "
    "cinnamon clove cocoa coconut coffee coriander corn cracker cranberry cream crepe cumin currant curry "
    "custard date dill dosa dumpling eggplant endive falafel fennel fig focaccia garlic ghee ginger "
    "gnocchi granola grape gravy guava hazelnut honey hummus idli jam jelly kale kebab ketchup kiwi laksa "
    "lassi leek lemon lentil lettuce lime lychee mace mango maple marmalade melon millet mint miso muffin "
    "mushroom mustard naan noodle nougat nutmeg oat okra olive onion orange oregano paella pancake papaya "
    "paprika parsley pasta peach peanut pear pecan pepper pesto pickle pierogi pilaf pita plum polenta "
    "popcorn porridge potato pretzel pumpkin quiche quince quinoa radish raisin ramen raita ravioli "
    "relish rhubarb rice risotto roti saffron sage salad salsa samosa sesame sherbet sorbet soup soy "
    "spinach squash stew sushi syrup taco tahini tamarind tapioca tea thyme toast tofu tomato truffle "
    "turmeric turnip vanilla waffle walnut wasabi yam yogurt"
)


def check_name(name: str) -> str:
    """The name without Docker's optional leading slash. Raises InvalidArgument in Docker's words."""
    bare = name.removeprefix("/")
    if not (2 <= len(bare) <= _LONGEST and bare[0] in _FIRST and _REST.issuperset(bare)):
        raise InvalidArgument(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return bare


def random_name(attempt: int = 0) -> str:
    """A name like `brisk_falafel`; from the third attempt on with a number, so that a full house finds
    one."""
    seed = int.from_bytes(os.urandom(8), "little")
    adjectives, nouns = _ADJECTIVES.split(), _NOUNS.split()
    name = f"{adjectives[seed % len(adjectives)]}_{nouns[(seed >> 16) % len(nouns)]}"
    return name if attempt < 2 else f"{name}{(seed >> 32) % 10**attempt}"
