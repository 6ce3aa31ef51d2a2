"""Remote runs: runs of this Easel whose engine is on another machine. Not: how a trainer is reached.

The run's folder is an ordinary one on this machine. Its only program, the follower, has the training started over there by a
`Carrier`, and brings here what the training writes. If the follower or its supervisor ends, the training goes on; the next
follower goes on where the last one was.

* `carrier`: what a way to reach a trainer must provide; `contract` checks one
* `request`: what a trainer is asked for; `outgoing`: what must be brought there for it
* `there`: the trainer's side, which starts the run that a request asks for, once
* `follower`, `mirror`: the program of a remote run, and what it brings here
* `kind`: the kind of job; `starting` and `attaching`: how a remote run begins here
* `silence`, `fate`: a trainer that does not answer; `transfers`: how far files are; `locks`: what is done only once
* `grown`: files that grow, in a storage that only knows whole objects
"""
