"""Many clients at once, each of which asks again as soon as it has its answer."""

import asyncio
import time
from collections import Counter

import openai

CLIENTS = 50


async def crowd(url: str, key: str, model: str, seconds: float) -> Counter[str]:
    """What the clients got: answers, 429s by that name, and any other error by its own."""
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=120)
    until, got = time.monotonic() + seconds, Counter[str]()

    async def asking(number: int) -> None:
        while time.monotonic() < until:
            try:
                await ask(number)
                got["answer"] += 1
            except openai.RateLimitError as error:
                got["429"] += 1
                await asyncio.sleep(float(error.response.headers["retry-after"]))
            except openai.OpenAIError as error:
                got[f"{type(error).__name__}: {error}"] += 1

    async def ask(number: int) -> None:
        messages = [{"role": "user", "content": f"Client {number} asks what helps."}]
        asked = {"model": model, "messages": messages, "max_tokens": 8, "temperature": 1.0}
        if number % 2:
            answer = await client.chat.completions.create(**asked)
            assert answer.usage.completion_tokens <= 8
        else:
            async for _ in await client.chat.completions.create(**asked, stream=True):
                pass

    async with client:
        await asyncio.gather(*map(asking, range(CLIENTS)))
    return got
