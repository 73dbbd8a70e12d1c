"""Scoring: from documents to attributions.

::

    scorer.py           the public class `Scorer`
    scheduler.py        the threads and queues of one run
    messages.py         what those threads send to the caller's thread
    work_queue.py       the queue between the reader thread and the text workers
    cascade.py          which model sees a document, and when its answer is final
    document_state.py   a document while it is being scored
    posterior.py        from logits and n-gram scores to probabilities
    attribution.py      the answer for one input
    stats.py            run statistics; percentiles.py holds their latency histograms
"""
