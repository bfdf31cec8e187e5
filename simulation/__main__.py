from simulation.run import run
import sys,time
import structlog, logging
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
if len(sys.argv)>2 and sys.argv[1]=="--seed":
    r=run(int(sys.argv[2]),keep_all=True); print(r.told()); print(r.digest, r.calls, r.commits); sys.exit()
a,b=map(int,sys.argv[1:3]); t=time.process_time(); bad=0
from collections import Counter
tot=Counter(); seen=Counter(); calls=0; L=0
for s in range(a,b):
    r=run(s); tot+=r.answers; seen.update(r.seen); calls+=r.calls; L=max(L,r.longest_seconds)
    if not r.passed:
        bad+=1; print(s, [f[:250] for f in r.faults[:3]])
d=time.process_time()-t
print(b-a,"seeds",bad,"bad",d,"s",(b-a)/d*60,"/min", calls/(b-a), L); print(tot); print(seen)
