"""Opens the chats sidebar at every Enter, with everything imported before: what F2 does in a session."""

from aichat_cli.app import App
from aichat_cli.core import interrupts
from aichat_cli.repl.picker.chats import pick_conversation

interrupts.install()
house = App()
assert house.database.path is not None
print("ready", flush=True)
while input() != "end":
    pick_conversation(house, None)
    print("ready", flush=True)
