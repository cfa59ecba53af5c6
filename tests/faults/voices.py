"""What a provider says in each protocol, in bytes: the same few things in five languages.

A play in the catalogue says `voice.text("pong")` and is thereby a play for every protocol.
"""

import json
from typing import Any, ClassVar

MODEL = "acme-1"
ANSWER = ("pong. ", "The river ", "runs.")


def event(said: object, name: str = "") -> bytes:
    """One server-sent event; a text stands for itself."""
    data = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    line = f"event: {name}\n" if name else ""
    return f"{line}data: {data}\n\n".encode("utf-8", "surrogatepass")


class Voice:
    """One protocol, from the provider's side."""

    protocol: ClassVar[str]
    path: ClassVar[str] = ""
    """Behind the port, in `base_url`."""

    def start(self) -> bytes:
        """What comes before any text."""
        return b""

    def text(self, said: str) -> bytes:
        """Some of the answer."""
        raise NotImplementedError

    def thought(self, said: str) -> bytes:
        """Some reasoning."""
        raise NotImplementedError

    def call(self) -> bytes:
        """A tool is called."""
        raise NotImplementedError

    def bare_call(self) -> bytes:
        """A tool is called, without arguments."""
        return self.call()

    def nothing(self) -> bytes:
        """An event without any text."""
        return self.text("")

    def finish(self, reason: str) -> bytes:
        """The reason for the end: `stop`, `length` or `filter`."""
        raise NotImplementedError

    def close(self) -> bytes:
        """What comes after the reason."""
        return b""

    def failure(self, kind: str, message: str) -> bytes:
        """An error within the stream."""
        return event(self.error(kind, message))

    def error(self, kind: str, message: str) -> dict[str, Any]:
        """The same as the body of a refusal."""
        return {"error": {"message": message, "type": kind, "param": None, "code": kind}}

    def whole(self) -> dict[str, Any]:
        """A good answer in one piece."""
        raise NotImplementedError

    def nonsense(self) -> bytes:
        """Events of which every field has the wrong type."""
        raise NotImplementedError

    def answer(self, *texts: str, reason: str = "length") -> bytes:
        """A whole good stream."""
        said = texts or ANSWER
        return b"".join([self.start(), *map(self.text, said), self.finish(reason), self.close()])


class Chat(Voice):
    protocol = "openai-chat"
    path = "/v1"
    reasons: ClassVar = {"filter": "content_filter"}

    def chunk(self, delta: object = None, reason: object = None, **more: object) -> dict[str, Any]:
        choices = [{"index": 0, "delta": delta if delta is not None else {}, "finish_reason": reason}]
        kind = "chat.completion.chunk"
        return {"id": "chat-1", "object": kind, "model": MODEL, "choices": choices, **more}

    def start(self) -> bytes:
        return event(self.chunk({"role": "assistant", "content": ""}))

    def text(self, said: str) -> bytes:
        return event(self.chunk({"content": said}))

    def thought(self, said: str) -> bytes:
        return event(self.chunk({"reasoning_content": said}))

    def call(self) -> bytes:
        return self.called('{"at": 1}')

    def bare_call(self) -> bytes:
        return self.called("")

    def called(self, arguments: str) -> bytes:
        function = {"name": "look", "arguments": arguments}
        return event(self.chunk({"tool_calls": [{"index": 0, "id": "c1", "function": function}]}))

    def finish(self, reason: str) -> bytes:
        return event(self.chunk({}, self.reasons.get(reason, reason)))

    def close(self) -> bytes:
        usage = {"prompt_tokens": 20, "completion_tokens": 8, "total_tokens": 28}
        return event(self.chunk(usage=usage) | {"choices": []}) + event("[DONE]")

    def whole(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": "".join(ANSWER)}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return {"id": "chat-1", "object": "chat.completion", "model": MODEL, "choices": choices}

    def nonsense(self) -> bytes:
        wrong: list[object] = [
            {"choices": "none"}, {"choices": {"delta": 1}}, {"choices": [None, 5, "x", []]},
            {"choices": [{"delta": None}]}, {"choices": [{"delta": [1]}]}, {"choices": [{"delta": {"content": 5}}]},
            {"choices": [{"delta": {"content": {"a": 1}, "tool_calls": 7, "refusal": [], "reasoning": 1.5}}]},
            {"choices": [{"delta": {"tool_calls": [None, {"function": 3}]}, "finish_reason": ["stop"]}]},
            {"id": [], "model": {}, "usage": "many", "x_groq": 9},
        ]  # fmt: skip
        return b"".join(map(event, wrong))


class Azure(Chat):
    protocol = "azure-openai"
    path = ""

    def start(self) -> bytes:
        return event({"id": "", "model": "", "choices": [], "prompt_filter_results": []}) + super().start()


class Anthropic(Voice):
    protocol = "anthropic"
    reasons: ClassVar = {"stop": "end_turn", "length": "max_tokens", "filter": "refusal"}

    def typed(self, kind: str, **more: object) -> bytes:
        return event({"type": kind, **more}, kind)

    def delta(self, kind: str, **more: object) -> bytes:
        return self.typed("content_block_delta", index=0, delta={"type": kind, **more})

    def start(self) -> bytes:
        usage = {"input_tokens": 20, "output_tokens": 1}
        message = {"id": "msg_1", "type": "message", "model": MODEL, "content": [], "usage": usage}
        block = {"type": "text", "text": ""}
        return self.typed("message_start", message=message) + self.typed(
            "content_block_start", index=0, content_block=block
        )

    def text(self, said: str) -> bytes:
        return self.delta("text_delta", text=said)

    def thought(self, said: str) -> bytes:
        return self.delta("thinking_delta", thinking=said)

    def call(self) -> bytes:
        return self.delta("input_json_delta", partial_json='{"at": 1}')

    def bare_call(self) -> bytes:
        block = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
        return self.typed("content_block_start", index=1, content_block=block)

    def nothing(self) -> bytes:
        return self.typed("ping")

    def finish(self, reason: str) -> bytes:
        stop = {"stop_reason": self.reasons[reason]}
        return self.typed("message_delta", delta=stop, usage={"output_tokens": 8})

    def close(self) -> bytes:
        return self.typed("message_stop")

    def failure(self, kind: str, message: str) -> bytes:
        return event(self.error(kind, message), "error")

    def error(self, kind: str, message: str) -> dict[str, Any]:
        return {"type": "error", "error": {"type": kind, "message": message}}

    def whole(self) -> dict[str, Any]:
        content = [{"type": "text", "text": "".join(ANSWER)}]
        return {
            "id": "msg_1",
            "type": "message",
            "model": MODEL,
            "content": content,
            "stop_reason": "end_turn",
        }

    def nonsense(self) -> bytes:
        wrong: list[object] = [
            {"type": 5}, {"type": ["message_start"]}, {"type": "message_start", "message": "hello"},
            {"type": "message_start", "message": {"id": 1, "model": [], "usage": [3]}},
            {"type": "content_block_start", "content_block": [1]}, {"type": "content_block_delta"},
            {"type": "content_block_delta", "delta": 7},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": {"a": 1}}},
            {"type": "content_block_delta", "delta": {"type": {}, "text": "x"}},
            {"type": "message_delta", "delta": {"stop_reason": 3}, "usage": "much"},
        ]  # fmt: skip
        return b"".join(map(event, wrong))


class Gemini(Voice):
    protocol = "gemini"
    path = "/v1beta"
    reasons: ClassVar = {"stop": "STOP", "length": "MAX_TOKENS", "filter": "SAFETY"}

    def piece(self, *parts: dict[str, Any], **more: object) -> bytes:
        candidate = {"content": {"parts": list(parts), "role": "model"}, "index": 0, **more}
        return event({"candidates": [candidate], "modelVersion": MODEL, "responseId": "r1"})

    def text(self, said: str) -> bytes:
        return self.piece({"text": said})

    def thought(self, said: str) -> bytes:
        return self.piece({"text": said, "thought": True})

    def call(self) -> bytes:
        return self.piece({"functionCall": {"name": "look", "args": {}}})

    def finish(self, reason: str) -> bytes:
        return self.piece(finishReason=self.reasons[reason])

    def failure(self, kind: str, message: str) -> bytes:
        return event(self.error(kind, message))

    def error(self, kind: str, message: str) -> dict[str, Any]:
        return {"error": {"code": 500, "message": message, "status": kind}}

    def whole(self) -> dict[str, Any]:
        content = {"parts": [{"text": "".join(ANSWER)}], "role": "model"}
        return {"candidates": [{"content": content, "finishReason": "STOP"}], "modelVersion": MODEL}

    def nonsense(self) -> bytes:
        wrong: list[object] = [
            {"candidates": "one"}, {"candidates": [None, 3]}, {"candidates": [{"content": "text"}]},
            {"candidates": [{"content": {"parts": "x"}}]}, {"candidates": [{"content": {"parts": [1, None]}}]},
            {"candidates": [{"content": {"parts": [{"text": 5, "functionCall": "f"}]}, "finishReason": {}}]},
            {"modelVersion": [], "responseId": 7, "usageMetadata": "much", "promptFeedback": 1},
        ]  # fmt: skip
        return b"".join(map(event, wrong))


class Responses(Voice):
    protocol = "openai-responses"
    path = "/v1"
    statuses: ClassVar = {"stop": None, "length": "max_output_tokens", "filter": "content_filter"}

    def typed(self, kind: str, **more: object) -> bytes:
        return event({"type": kind, **more}, kind)

    def start(self) -> bytes:
        return self.typed(
            "response.created", response={"id": "resp_1", "model": MODEL, "status": "in_progress"}
        )

    def text(self, said: str) -> bytes:
        return self.typed("response.output_text.delta", delta=said)

    def thought(self, said: str) -> bytes:
        return self.typed("response.reasoning_text.delta", delta=said)

    def call(self) -> bytes:
        return self.typed("response.function_call_arguments.delta", delta='{"at": 1}')

    def bare_call(self) -> bytes:
        item = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "look", "arguments": ""}
        return self.typed("response.output_item.added", item=item)

    def finish(self, reason: str) -> bytes:
        why = self.statuses[reason]
        status = "incomplete" if why else "completed"
        usage = {"input_tokens": 20, "output_tokens": 8}
        response = {"id": "resp_1", "model": MODEL, "status": status, "usage": usage, "output": []}
        details = {"incomplete_details": {"reason": why}} if why else {}
        return self.typed(f"response.{status}", response=response | details)

    def failure(self, kind: str, message: str) -> bytes:
        return self.typed("error", code=kind, message=message)

    def whole(self) -> dict[str, Any]:
        content = [{"type": "output_text", "text": "".join(ANSWER)}]
        return {
            "id": "r1",
            "model": MODEL,
            "status": "completed",
            "output": [{"type": "message", "content": content}],
        }

    def nonsense(self) -> bytes:
        wrong: list[object] = [
            {"type": 3}, {"type": ["error"]}, {"type": "response.created", "response": "r"},
            {"type": "response.output_text.delta", "delta": {"text": "x"}},
            {"type": "response.output_text.delta"}, {"type": "response.output_text.done", "text": 7},
            {"type": "response.completed", "response": [1]},
            {"type": "response.completed", "response": {"status": 5, "output": "x", "usage": []}},
            {"type": "response.done", "response": {"output": [{"content": [{"type": {}}]}], "model": 7}},
        ]  # fmt: skip
        return b"".join(map(event, wrong))


class Page(Voice):
    """A plain page: all that is said is its text."""

    protocol = "http"

    def text(self, said: str) -> bytes:
        return said.encode()

    def finish(self, reason: str) -> bytes:  # noqa: ARG002 - a page has none
        return b""

    def nothing(self) -> bytes:
        return b"\n"

    def failure(self, kind: str, message: str) -> bytes:
        return f"{kind}: {message}".encode()


VOICES: dict[str, Voice] = {
    voice.protocol: voice for voice in (Chat(), Azure(), Anthropic(), Gemini(), Responses(), Page())
}
MODELS = tuple(name for name in VOICES if name != "http")
