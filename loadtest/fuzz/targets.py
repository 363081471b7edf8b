"""The readers that are fuzzed in process."""

from loadtest.fuzz.audio_inputs import broken_container, broken_wav, decode
from loadtest.fuzz.form_inputs import broken_form, read
from loadtest.fuzz.option_inputs import broken_options, parse
from loadtest.fuzz.target import Target

TARGETS = {
    target.name: target
    for target in (
        Target("wav", broken_wav, decode),
        Target("container", broken_container, decode),
        Target("options", broken_options, parse),
        Target("multipart", broken_form, read),
    )
}
