from __future__ import annotations
class RelevanceIndex:
    def __init__(self, query): self.q=[w for w in query.replace("?"," ").split()]; self.s=[]
    def add(self, index, text): self.s.append((index, sum(text.count(w)*(1 if len(w)<7 else 100) for w in self.q)))
    def rank(self): return [i for i,_ in sorted(self.s, key=lambda p:(-p[1],p[0]))]
