"""The families of the simulator's catalog, one line each; the figures in it are invented."""

# ruff: noqa: E501 (a row of a table is one line)

from __future__ import annotations

# author | display name | tokenizer | provider | profile of sampling parameters
AUTHORS = """
openai | OpenAI | GPT | OpenAI | openai
anthropic | Anthropic | Claude | Anthropic | claude
google | Google | Gemini | Google AI Studio | plain
x-ai | xAI | Grok | xAI | plain
deepseek | DeepSeek | DeepSeek | DeepSeek | open
qwen | Qwen | Qwen3 | Alibaba | open
mistralai | Mistral | Mistral | Mistral | plain
meta-llama | Meta | Llama4 | Groq | open
z-ai | Z.AI | Other | Z.AI | open
moonshotai | MoonshotAI | Other | Moonshot AI | open
nvidia | NVIDIA | Other | DeepInfra | open
amazon | Amazon | Nova | Amazon Bedrock | few
cohere | Cohere | Cohere | Cohere | plain
minimax | MiniMax | Other | Minimax | open
microsoft | Microsoft | Other | Azure | plain
perplexity | Perplexity | Other | Perplexity | few
bytedance-seed | ByteDance Seed | Other | Seed | plain
tencent | Tencent | Other | SiliconFlow | open
stepfun | StepFun | Other | StepFun | plain
black-forest-labs | Black Forest Labs | Other | Black Forest Labs | none
harbor-ai | Harbor AI | Llama3 | Together | open
quillworks | Quillworks | Llama2 | Mancer | open
northlight | Northlight | Qwen | Novita | plain
lab | Lab | Other | Lab | open
openrouter | OpenRouter | Router | OpenRouter | open
"""

# author/slug | title | variants (`.` = none) | inputs>outputs, Tools/Structured outputs, reasoning
# | thousands of tokens of context/output | $ per million in/out | extras
#
# Reasoning: `-` none, `o` optional, `M` mandatory; `e:` its efforts (a max, x xhigh, h high,
# m medium, l low, i minimal, n none, * all), `b` takes a token budget, `+`/`!` on/off by default.
FAMILIES = """
openai/gpt-4o | GPT-4o | ., -2024-11-20, -2024-05-13 | tif>t TS - | 128/16 | 2.5/10 | cache=.5 mod
openai/gpt-4o-mini | GPT-4o mini | ., -2024-07-18 | tif>t TS - | 128/16 | .15/.6 | cache=.5 mod
openai/gpt-4.1 | GPT-4.1 | ., -mini, -nano | tif>t TS - | 1047/32 | 2/8 | cache=.25 batch search=.01 mod
openai/gpt-4-turbo | GPT-4 Turbo | ., -preview | ti>t TS - | 128/4 | 10/30 | mod
openai/gpt-3.5-turbo | GPT-3.5 Turbo | ., -16k, -instruct | t>t . - | 16/4 | .5/1.5 | mod
openai/o1-pro | o1-pro | . | tif>t S o | 200/100 | 150/600 | batch mod
openai/o3-mini | o3 mini | . | tf>t TS o | 200/100 | 1.1/4.4 | cache=.5 batch mod
openai/o3-mini-high | o3 mini High | . | tf>t TS Me:h | 200/100 | 1.1/4.4 | batch mod
openai/o4-mini | o4 mini | ., -high | tif>t TS Me:hml | 200/100 | 1.1/4.4 | cache=.25 batch mod
openai/gpt-5 | GPT-5 | ., -mini, -nano, -pro | tif>t TS Me:hmli | 400/128 | 1.25/10 | cache=.1 batch search=.01 mod
openai/gpt-5.2 | GPT-5.2 | ., -pro | tif>t TS oe:xhmln! | 400/128 | 1.75/14 | cache=.1 batch search=.01 mod verbose
openai/gpt-5.2-codex | GPT-5.2 Codex | ., -max | ti>t TS Me:xhml | 400/128 | 1.5/12 | cache=.1 mod
openai/gpt-5.2-codex-mini | GPT-5.2 Codex mini | . | ti>t TS oe:hml | 400/128 | .25/2 | cache=.1
openai/gpt-5.2-chat | GPT-5.2 Chat | . | tif>t TS - | 128/16 | 1.75/14 | cache=.1 search=.01 mod
openai/gpt-5.6 | GPT-5.6 | -sol, -luna, -terra | tif>t TS oe:axhmln+ | 1050/128 | 4/24 | cache=.1 write=1.25 tier=272 batch search=.01 mod verbose
openai/gpt-5-image | GPT-5 Image | ., -mini | tif>ti S M | 400/128 | 10/10 | image=40 mod
openai/gpt-5.4-image | GPT-5.4 Image | . | tif>ti S oe:hmln | 400/128 | 8/15 | image=30 mod
openai/gpt-audio | GPT Audio | ., -mini | ta>ta TS - | 128/16 | 2.5/10 | audio=32
openai/gpt-oss-120b | gpt-oss-120b | . | t>t TS Me:hml | 131/131 | .05/.25 | free hf tools-mixed
openai/gpt-oss-20b | gpt-oss-20b | . | t>t TS Me:hml | 131/131 | .03/.14 | free hf
anthropic/claude-3-haiku | Claude 3 Haiku | . | ti>t T - | 200/4 | .25/1.25 | cache=.12 write=1.2 mod
anthropic/claude-3.5 | Claude 3.5 | -haiku, -sonnet | tif>t T o | 200/8 | .8/4 | cache=.1 write=1.25 mod exp=2026-12-31
anthropic/claude-opus-4 | Claude Opus 4 | ., .1 | tif>t T o | 200/32 | 15/75 | cache=.1 write=1.25 batch search=.01 mod
anthropic/claude-sonnet-4 | Claude Sonnet 4 | . | tif>t T o | 1000/64 | 3/15 | cache=.1 write=1.25 tier=200 batch search=.01 mod
anthropic/claude-haiku-4.5 | Claude Haiku 4.5 | . | tif>t TS o | 200/64 | 1/5 | cache=.1 write=1.25 batch search=.01 mod
anthropic/claude-sonnet-4.5 | Claude Sonnet 4.5 | . | tif>t TS o | 1000/64 | 3/15 | cache=.1 write=1.25 tier=200 batch search=.01 mod
anthropic/claude-opus-4.5 | Claude Opus 4.5 | . | tif>t TS o! | 200/64 | 5/25 | cache=.1 write=1.25 batch search=.01 mod
anthropic/claude-opus-4.6 | Claude Opus 4.6 | . | tif>t TS oeb:ahml! | 1000/128 | 5/25 | cache=.1 write=1.25 batch search=.01 mod verbose
anthropic/claude-sonnet-5 | Claude Sonnet 5 | . | tif>t TS oe:axhml+ | 1000/128 | 2/10 | cache=.1 write=1.25 batch search=.01 mod verbose
anthropic/claude-opus-5 | Claude Opus 5 | ., -fast | tif>t TS oe:axhml+ | 1000/128 | 5/25 | cache=.1 write=1.25 batch search=.01 mod verbose
google/gemini-2.0-flash | Gemini 2.0 Flash | -001, -lite-001 | tifav>t TS - | 1048/8 | .1/.4 | cache=.25 exp=2027-02-01
google/gemini-2.5-flash | Gemini 2.5 Flash | ., -lite | tifav>t TS o! | 1048/65 | .3/2.5 | cache=.1 batch search=.014
google/gemini-2.5-pro | Gemini 2.5 Pro | ., -preview-05-06 | tifav>t TS M | 1048/65 | 1.25/10 | cache=.1 tier=200 batch search=.014
google/gemini-2.5-pro-preview | Gemini 2.5 Pro Preview | . | tifa>t TS M | 1048/65 | 1.25/10 | cache=.1 tier=200
google/gemini-3-flash | Gemini 3 Flash | -preview | tifav>t TS oe:hmli | 1048/65 | .5/3 | cache=.1 batch search=.014
google/gemini-3.1-flash-lite | Gemini 3.1 Flash Lite | ., -preview | tifav>t TS oe:hmli+ | 1048/65 | .25/1.5 | cache=.1 batch search=.014
google/gemini-3.1-pro | Gemini 3.1 Pro | -preview, -preview-customtools | tifav>t TS Me:hml | 1048/65 | 2/12 | cache=.1 tier=200 search=.014
google/gemini-3.7-flash | Gemini 3.7 Flash | . | tifav>t TS Me:hml+ | 1048/65 | .4/2 | cache=.1 batch search=.014
google/gemini-2.5-flash-image | Gemini 2.5 Flash Image | . | ti>ti S - | 32/8 | .3/2.5 | image=30 search=.014
google/gemini-3-pro-image | Gemini 3 Pro Image | . | ti>ti TS M | 131/32 | 2/12 | image=120 search=.014
google/gemini-3-pro-image-preview | Gemini 3 Pro Image Preview | . | ti>ti S M | 65/32 | 2/12 | image=120
google/gemini-3.1-flash-image | Gemini 3.1 Flash Image | ., -preview | ti>ti S oe:hi+ | 131/32 | .5/3 | image=60 search=.014
google/gemini-3.1-flash-lite-image | Gemini 3.1 Flash Lite Image | . | ti>ti . oe:hi+ | 65/66 | .25/1.5 | image=30
google/gemma-3 | Gemma 3 | -12b-it, -27b-it | ti>t S - | 131/16 | .06/.2 | free hf
google/gemma-3n | Gemma 3n | -e2b-it, -e4b-it | t>t S - | 32/8 | .02/.04 | free hf
google/gemma-4 | Gemma 4 | -31b-it, -9b-it | tiv>t T o | 262/32 | .15/.45 | free hf
google/lyra | Lyra | -pro-preview, -clip-preview | ti>ta . - | 32/8 | 0/0 | audio=1
x-ai/grok-3 | Grok 3 | ., -beta | t>t TS - | 131/0 | 3/15 | cache=.25
x-ai/grok-3-mini | Grok 3 Mini | ., -beta | t>t TS Me:hl | 131/0 | .3/.5 | cache=.25
x-ai/grok-4 | Grok 4 | ., .5 | tif>t TS Me:hml | 256/0 | 3/15 | cache=.25 tier=128 search=.005
x-ai/grok-4.1-fast | Grok 4.1 Fast | . | ti>t TS o | 2000/30 | .2/.5 | cache=.25 free
x-ai/grok-4.2 | Grok 4.2 | ., -multi-agent | tif>t S Me:xhml | 500/0 | 2/6 | cache=.25 tier=200 search=.005
x-ai/grok-4.6 | Grok 4.6 | . | tif>t TS Me:xhml+ | 500/0 | 2/6 | cache=.25 tier=200 search=.005
x-ai/grok-code-fast | Grok Code Fast | -1, -2 | tif>t TS M | 256/10 | .2/1.5 | cache=.1
deepseek/deepseek-chat | DeepSeek V3 | ., -v3-0324, -v3.1 | t>t TS - | 163/32 | .28/1.1 | cache=.2 hf
deepseek/deepseek-r1 | DeepSeek R1 | ., -0528 | t>t TS M | 163/32 | .5/2.2 | cache=.2 free hf
deepseek/deepseek-r1-distill | DeepSeek R1 Distill | -llama-70b, -qwen-32b | t>t S M | 131/16 | .08/.3 | hf
deepseek/deepseek-v3.2 | DeepSeek V3.2 | ., -exp, -speciale | t>t TS o+ | 163/65 | .27/.4 | cache=.1 hf
deepseek/deepseek-v4 | DeepSeek V4 | -pro, -flash, -flash-0731 | t>t TS oe:ahl+ | 1048/384 | .4/1.2 | cache=.2 hf
qwen/qwen-2.5 | Qwen2.5 | -7b-instruct, -72b-instruct, -coder-32b-instruct | t>t TS - | 131/16 | .1/.3 | hf
qwen/qwen-2.5-vl | Qwen2.5 VL | -32b-instruct, -72b-instruct | ti>t S - | 131/16 | .2/.6 | hf
qwen/qwen-max | Qwen Max | ., -2025-09-23 | t>t TS - | 131/32 | 1.2/6 | cache=.1 write=1.25
qwen/qwen-plus-2025-07-28 | Qwen Plus 0728 | . | t>t TS - | 1000/32 | .4/1.2 | think tier=256
qwen/qwen3-coder | Qwen3 Coder | ., -30b-a3b-instruct, -plus, -flash | t>t T - | 262/65 | .3/1.2 | free hf tier=128
qwen/qwen3 | Qwen3 | -8b, -14b, -32b, -30b-a3b, -235b-a22b | t>t TS o | 131/40 | .06/.24 | hf
qwen/qwen3-next | Qwen3 Next | -80b-a3b-instruct, -160b-a6b-instruct | t>t TS - | 262/65 | .1/.8 | hf
qwen/qwen3-vl | Qwen3 VL | -8b-thinking, -30b-a3b-thinking, -235b-a22b-thinking | ti>t TS M | 131/32 | .15/1 | hf
qwen/qwen3-vl-instruct | Qwen3 VL Instruct | -8b, -32b, -235b | ti>t TS - | 131/32 | .12/.8 | hf
qwen/qwen3.5 | Qwen3.5 | -27b, -122b-a10b, -397b-a17b | tiv>t TS o+ | 262/65 | .3/2 | hf batch
qwen/qwen3.7-flash | Qwen3.7 Flash | . | tiv>t T ob+ | 1000/65 | .05/.3 | tier=256
qwen/qwen3.7 | Qwen3.7 | -max, -plus | ti>t TS o+ | 1000/65 | .8/3 | cache=.1 write=1.25
qwen/qwen3.8 | Qwen3.8 | -27b, -9b | tiv>t TS oe:xml+ | 262/131 | .45/3.2 | hf
qwen/qwen3.8-max | Qwen3.8 Max | . | tiv>t TS Me:xml+ | 1000/131 | 1.2/6 | cache=.1 write=1.25
mistralai/mistral-7b | Mistral 7B | -instruct-v0.1, -instruct-v0.3 | t>t . - | 32/8 | .03/.05 | hf
mistralai/mistral-large | Mistral Large | -2407, -2411 | tf>t TS - | 131/0 | 2/6 |
mistralai/mistral-large-2512 | Mistral Large 3 | . | tif>t TS - | 262/0 | .5/1.5 |
mistralai/mistral-small | Mistral Small | -24b-instruct-2501, -3.2-24b-instruct | ti>t . - | 131/0 | .05/.1 | free hf
mistralai/mistral-small-2603 | Mistral Small 4 | . | ti>t TS oe:hn! | 262/0 | .15/.6 | hf
mistralai/ministral | Ministral | -3b-2512, -8b-2512, -14b-2512 | ti>t TS - | 262/0 | .1/.1 | hf
mistralai/codestral | Codestral | -2501, -2508 | tf>t TS - | 256/0 | .3/.9 |
mistralai/devstral | Devstral | -small-2507, -medium-2507 | t>t TS - | 131/0 | .1/.3 | hf
mistralai/magistral | Magistral | -small-2509, -medium-2509 | t>t TS M | 131/40 | 2/5 |
mistralai/voxtral-small | Voxtral Small | -24b-2507 | tfa>t TS - | 32/0 | .1/.3 | audio=100
meta-llama/llama-3.1 | Llama 3.1 | -8b-instruct, -70b-instruct, -405b-instruct | t>t TS - | 131/16 | .05/.08 | hf
meta-llama/llama-3.2 | Llama 3.2 | -1b-instruct, -3b-instruct | t>t . - | 131/16 | .02/.03 | free hf
meta-llama/llama-3.3 | Llama 3.3 | -70b-instruct | t>t TS - | 131/16 | .1/.3 | free hf
meta-llama/llama-4 | Llama 4 | -scout, -maverick | ti>t TS - | 1048/16 | .15/.6 | hf
meta-llama/llama-guard | Llama Guard | -3-8b, -4-12b | ti>t . - | 163/0 | .05/.1 | hf
z-ai/glm-4 | GLM 4 | -32b | t>t T - | 131/0 | .1/.1 | hf
z-ai/glm-4.5 | GLM 4.5 | ., -air | t>t TS o+ | 131/98 | .5/2 | cache=.2 free hf
z-ai/glm-4.5v | GLM 4.5V | . | ti>t T o+ | 65/16 | .6/1.8 | cache=.2 hf
z-ai/glm-4.6v | GLM 4.6V | ., -flash | tiv>t T o+ | 131/32 | .3/.9 | hf
z-ai/glm-5 | GLM 5 | ., -turbo | t>t TS o+ | 202/131 | .8/2.6 | cache=.2 hf batch
z-ai/glm-5.3 | GLM 5.3 | . | t>t TS oe:hn+ | 202/131 | .9/3 | cache=.2 hf
moonshotai/kimi-k2 | Kimi K2 | ., -0905 | t>t TS - | 262/0 | .5/2.4 | cache=.25 free hf
moonshotai/kimi-k2-thinking | Kimi K2 Thinking | . | t>t TS M | 262/0 | .6/2.5 | cache=.25 hf
moonshotai/kimi-k2.7-code | Kimi K2.7 Code | . | ti>t TS M+ | 262/0 | .6/2.8 | cache=.2 hf batch
moonshotai/kimi-k3 | Kimi K3 | . | tiv>t TS oe:ahl+ | 1048/0 | 3/15 | cache=.1 hf tools-mixed
nvidia/nemotron-3-super-120b | Nemotron 3 Super 120B | . | t>t TS oeb:ml | 262/0 | .1/.5 | hf batch
nvidia/nemotron-3-ultra-550b | Nemotron 3 Ultra 550B | . | t>t T oeb:hm | 262/65 | .4/1.8 | hf free
nvidia/nemotron-3.5-lightning | Nemotron 3.5 Lightning | . | t>t T o+ | 131/32 | .08/.3 | hf free batch
nvidia/nemotron-nano-omni | Nemotron Nano Omni | . | tiav>t T ob | 262/65 | .05/.2 | hf free
nvidia/nemotron-safety | Nemotron Content Safety | . | ti>t . o | 131/8 | .05/.1 | hf free
amazon/nova | Nova | -lite-v1, -pro-v1, -premier-v1 | ti>t T - | 300/5 | .06/.24 | cache=.25
amazon/nova-micro-v1 | Nova Micro | . | t>t T - | 128/5 | .035/.14 | cache=.25
amazon/nova-2-lite-v1 | Nova 2 Lite | . | tifv>t T o | 1000/65 | .3/2.5 |
cohere/command | Command | -a, -r7b-12-2024, -r-plus-08-2024 | t>t S - | 256/8 | 2.5/10 |
minimax/minimax-m1 | MiniMax M1 | . | t>t T M | 1000/40 | .4/2.2 |
minimax/minimax-m2 | MiniMax M2 | ., .5, .7 | t>t TS M | 196/131 | .3/1.2 | cache=.1 hf batch
minimax/minimax-m3 | MiniMax M3 | . | tiv>t TS o | 512/131 | .4/1.6 | cache=.1 hf batch
minimax/minimax-01 | MiniMax 01 | . | ti>t . - | 1000/1000 | .2/1.1 | hf
microsoft/phi-4 | Phi 4 | ., -mini-instruct | t>t S - | 16/16 | .06/.14 | hf
microsoft/phi-4-reasoning | Phi 4 Reasoning | -plus, -vision | t>t S o | 32/0 | .07/.35 | hf
perplexity/sonar | Sonar | ., -pro | ti>t . - | 127/8 | 1/1 | request=.005 search=.005
perplexity/sonar-reasoning-pro | Sonar Reasoning Pro | . | ti>t . o | 128/0 | 2/8 | search=.005
perplexity/sonar-deep-research | Sonar Deep Research | . | t>t . o | 128/0 | 2/8 | search=.005
perplexity/sonar-pro-search | Sonar Pro Search | . | ti>t S M | 200/8 | 3/15 | request=.018
bytedance-seed/seed-1.6 | Seed 1.6 | ., -flash | tiv>t TS o | 262/32 | .25/2 | tier=128
bytedance-seed/seed-2.0 | Seed 2.0 | -lite, -code | tiv>t TS oe:hmli | 262/131 | .3/2.4 | tier=128
bytedance-seed/ui-tern-7b | UI Tern 7B | . | ti>t S - | 128/2 | .1/.2 | hf
tencent/hunyuan-a13b | Hunyuan A13B | -instruct | t>t S o | 131/131 | .14/.57 | hf
tencent/hy3-preview | Hy3 Preview | . | t>t T oe:hln! | 262/0 | .1/.3 | hf
stepfun/step-3.7-flash | Step 3.7 Flash | . | tiv>t TS Me:hml | 256/256 | .1/.3 | hf
stepfun/step-4-mono | Step 4 Mono | . | tiav>t TS o | 262/131 | .4/2 | hf
harbor-ai/pelican | Pelican | -8b, -34b, -120b | t>t T o | 131/32 | .1/.4 | hf free
harbor-ai/pelican-guard | Pelican Guard | . | t>t T Me:hml | 131/32 | .2/.5 | hf
harbor-ai/heron | Heron | -small | tia>t TS oe:axhml | 262/0 | .3/1.2 |
harbor-ai/heron-large | Heron Large | . | tia>t T oe:axhml | 262/0 | .9/3.6 | batch
harbor-ai/tern-long | Tern Long | . | t>t T ob | 1048/131 | .2/.8 | hf
harbor-ai/albatross | Albatross | -v1, -v2, -v3-mini | t>t T M | 131/32 | .7/1.4 |
quillworks/inkstone | Inkstone | -12b, -24b, -70b | t>t . - | 32/8 | .2/.5 | hf
quillworks/inkstone-rp | Inkstone Roleplay | -8b, -22b | t>t S - | 16/4 | .1/.3 | hf
quillworks/fable-muse | Fable Muse | -v1, -v2 | t>t S - | 32/0 | .6/.9 | hf
quillworks/novella-405b | Novella 405B | . | t>t . o | 131/0 | 1/3 | hf
northlight/aurora | Aurora | -base, -pro | ti>t TS Me:axh+ | 1000/0 | .8/3.2 | discount
northlight/aurora-vision | Aurora Vision | . | tiv>t S o | 65/8 | .15/1.5 |
northlight/polaris | Polaris | -1, -2 | tifav>t TS Me:axhmli | 1048/65 | 1/4 | night
northlight/borealis-edge | Borealis Edge | . | ti>t T o | 131/32 | .1/.4 | hf
harbor-ai/petrel | Petrel | -1b, -3b, -7b, -14b, -32b, -72b | t>t TS - | 131/32 | .05/.2 | hf
harbor-ai/petrel-code | Petrel Code | -7b, -32b | t>t T - | 131/32 | .1/.3 | hf
harbor-ai/kestrel | Kestrel | -small, -medium, -large, -xl | ti>t TS oe:hml | 262/65 | .3/1.5 | cache=.1
harbor-ai/cormorant | Cormorant | -2025-03-01, -2025-09-01, -2026-02-15 | t>t TS o | 131/32 | .4/1.6 |
quillworks/parchment | Parchment | -8b, -12b, -24b, -70b, -120b | t>t . - | 32/8 | .2/.6 | hf
quillworks/marginalia | Marginalia | -v1, -v2, -v3 | t>t S - | 65/8 | .3/.8 | hf
quillworks/quarto | Quarto | -mini, -base, -max | t>t S o | 131/16 | .5/1.5 | hf
northlight/zenith | Zenith | -lite, -flash, -pro, -ultra | tif>t TS oe:hmli | 524/65 | .5/3 | cache=.1
northlight/solstice | Solstice | -1, -1.5, -2, -2.5 | ti>t TS - | 262/32 | .3/1.2 |
northlight/meridian | Meridian | -3b, -9b, -27b | t>t TS - | 65/8 | .05/.15 | hf
nvidia/lattice | Lattice | -4b, -9b, -30b, -49b | t>t TS o | 131/32 | .1/.4 | hf
cohere/chorus | Chorus | -small, -medium, -large | t>t TS - | 256/8 | .4/2 |
amazon/nova-harbour | Nova Harbour | -micro, -lite, -pro | tif>t T - | 300/10 | .2/.8 |
microsoft/phi-6 | Phi 6 | -mini, -small, -medium | ti>t TS o | 131/32 | .1/.4 | hf
stepfun/step-5 | Step 5 | -mini, -base, -max | tiv>t TS o | 262/65 | .3/1.5 |
tencent/hy4 | Hy4 | -small, -large, -thinking | t>t TS o | 262/65 | .2/.8 | hf
minimax/minimax-m4 | MiniMax M4 | -lite, -base | ti>t TS o | 512/131 | .4/1.6 |
meta-llama/llama-5 | Llama 5 | -8b, -70b, -400b | ti>t TS - | 524/32 | .2/.7 | hf free
northlight/spectrum | Spectrum | . | tifav>ti TS o | 524/65 | .6/3 |
northlight/cinema | Cinema | . | tiv>t TS - | 262/32 | .3/1.2 |
lab/stream-200 | Stream of 200 deltas | . | t>t TS - | 128/16 | .1/.4 |
lab/stream-2000 | Stream of 2,000 deltas | . | t>t TS - | 128/16 | .1/.4 |
lab/no-context | No Context Length | . | t>t TS - | 0/0 | .1/.4 |
lab/any-effort | Any Effort | . | t>t TS oe:* | 128/16 | .1/.4 |
openrouter/auto | Auto Router | . | tifav>ti TS - | 2000/0 | -1/-1 | router
openrouter/auto-beta | Auto Router (beta) | . | tifav>ti TS - | 2000/0 | -1/-1 | router
openrouter/panel | Panel Router | . | t>t . - | 200/0 | -1/-1 | router
openrouter/code-front | Code Front Router | . | t>t . - | 200/0 | -1/-1 | router
openrouter/free | Free Models Router | . | ti>t TS - | 200/0 | 0/0 | router
black-forest-labs/flux.2 | FLUX.2 | -pro, -flex, -max, -klein-4b | ti>i . - | 46/0 | 0/0 | image=15
bytedance-seed/seedream | Seedream | -4.5, -5.0 | ti>i . - | 4/0 | 0/0 | image=10
northlight/vectorial | Vectorial | -v1, -v1-pro | ti>i . - | 65/0 | 0/0 | image=20
google/gemini-embedding | Gemini Embedding | -001, -002 | t>e . - | 20/0 | .15/0 |
openai/text-embedding-3 | Text Embedding 3 | -small, -large | t>e . - | 8/0 | .02/0 |
qwen/qwen3-embedding | Qwen3 Embedding | -4b, -8b | t>e . - | 32/0 | .01/0 | hf
cohere/rerank | Rerank | -v3.5, -v4-pro | t>r . - | 32/0 | 0/0 | request=.002
openai/gpt-4o-mini-tts | GPT-4o mini TTS | . | t>s . - | 4/0 | .6/12 | voices
openai/gpt-4o-transcribe | GPT-4o Transcribe | . | a>x . - | 16/0 | 2.5/10 |
google/veo | Veo | -3.1, -3.1-fast | ti>v . - | 4/0 | 0/0 | request=.4
"""

# alias | title | what it stands for
ALIASES = """
~anthropic/claude-sonnet-latest | Claude Sonnet Latest | anthropic/claude-sonnet-5
~anthropic/claude-opus-latest | Claude Opus Latest | anthropic/claude-opus-5
~anthropic/claude-haiku-latest | Claude Haiku Latest | anthropic/claude-haiku-4.5
~openai/gpt-latest | GPT Latest | openai/gpt-5.6-sol
~openai/gpt-mini-latest | GPT Mini Latest | openai/gpt-5-mini
~google/gemini-pro-latest | Gemini Pro Latest | google/gemini-3.1-pro-preview
~google/gemini-flash-latest | Gemini Flash Latest | google/gemini-3.7-flash
~x-ai/grok-latest | Grok Latest | x-ai/grok-4.6
~moonshotai/kimi-latest | Kimi Latest | moonshotai/kimi-k3
~deepseek/deepseek-flash-latest | DeepSeek Flash Latest | deepseek/deepseek-v4-flash
"""
