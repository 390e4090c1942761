"""The medical safety advisory: the one text that cards, system prompts and the chat page show."""

ADVISORY = (
    "This model is not a medical device and gives no medical advice. It writes fluent text that may be wrong, outdated "
    "or harmful. Do not deploy it in medical applications without further alignment to the use case and extensive "
    "testing in it, randomised controlled trials included. Do not use it to diagnose, treat or triage anyone."
)
