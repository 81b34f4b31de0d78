"""Types that travel as arguments and results."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import List, Optional
from uuid import UUID

from pydantic import BaseModel


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Item(BaseModel):
    sku: str
    count: int = 1
    price: Decimal


class Order(BaseModel):
    id: UUID
    items: List[Item]
    placed: datetime
    note: Optional[str] = None


@dataclass
class Point:
    x: float
    y: float


class ShopError(Exception):
    def __init__(self, code, text):
        super().__init__(code, text)
        self.code = code

    def __str__(self):
        return f"{self.code}: {self.args[1]}"


class Unpicklable(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.held = lambda: text
