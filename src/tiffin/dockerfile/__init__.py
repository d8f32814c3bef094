"""Dockerfiles: pure text to typed values. No file is read, nothing executed, no image looked up.

    dockerfile = parse_dockerfile(data, "Dockerfile")               stages.py
    values = dockerfile.evaluate_global_args(build_args, {})
    for stage in dockerfile.reachable(dockerfile.target("web"), values):
        begin with dockerfile.base_stage(stage, values), or the image dockerfile.base_image(stage, values)
        for instruction in stage.instructions:
            arg:     resolve_args(instruction, env, build_args, values, dockerfile.escape)      expand.py
            others:  expand(instruction, env, dockerfile.escape, file=dockerfile.file)
            ... and act on what comes back; ENV and ARG change `env` for the next one

Vocabulary: a *logical line* is an instruction's text with its continuations (lines.py), a *node* that line split
into keyword, flags and rest (grammar.py), an *instruction* its typed form (instructions.py), a *word* a piece of text
with quotes and variables (shell_words.py), a *trigger* what ONBUILD keeps for a later build (parser.parse_trigger).
`.dockerignore` is `ignore.IgnoreRules`.

Errors are DockerfileError (file, line, instruction, nearest word) for text that is wrong, Unsupported for text that is
right and asks for what tiffin does not have. Every input is bounded and read in linear time.
"""
