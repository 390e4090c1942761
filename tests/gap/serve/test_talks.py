"""Talks: what of them is sent to a model, and what of a browser's storage is one."""

from gap.serve.talks import Said, Talk


def test_a_question_without_an_answer_is_sent_only_as_the_last() -> None:
    talk = Talk()
    asked = [("Never answered?", []), ("Stopped?", [""]), ("What helps?", ["Rest."]), ("And then?", [])]
    for question, answers in asked:
        talk.ask(question)
        talk.said += [Said(role="assistant", content=answer) for answer in answers]
    assert [message["content"] for message in talk.messages] == ["What helps?", "Rest.", "And then?"]
    assert talk.title == "Never answered?"


def test_a_browser_keeps_a_talk_and_nothing_else_is_one() -> None:
    talk = Talk()
    talk.ask("What helps? " * 10)
    assert Talk.kept(talk.text) == talk
    assert len(talk.title) == 48
    for text in (None, 7, "", "{", "[]", "[" * 9999, '{"id": "../x"}', '{"said": [{"role": "system", "content": ""}]}'):
        assert Talk.kept(text) is None
